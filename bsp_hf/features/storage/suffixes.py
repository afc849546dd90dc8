"""What files of feature tracks are called; imports nothing slow, so that the command line can ask."""

TRACK_FORMATS = ("npy", "npz", "h5", "pt", "csv", "safetensors", "arrow")
H5_SUFFIXES = (".h5", ".hdf5")
# Files of nothing but the array, as other tools read them; their record lies beside them.
BARE_SUFFIXES = (".npy", ".pt", ".csv")
TRACK_SUFFIXES = (*BARE_SUFFIXES, ".npz", ".safetensors", *H5_SUFFIXES)
