"""Reading videos: which stream, in which shape and colours."""

import av
import numpy as np
import pytest
from av.bitstream import BitStreamFilterContext
from support.bad_muxers import write_packets
from support.rendered import numbered_picture, read_all, read_numbers

from bsp_hf.encoder.video import VideoReader, decoder_version, index_frames, read_frames
from bsp_hf.encoder.video_source import VideoDecodeError

pytestmark = pytest.mark.filterwarnings("error")


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_display_matrices_are_honoured(render, rotation, mirrored):
    path = render("turned.mp4", 5, rotation=rotation, mirrored=mirrored)
    frames, _, metadata = read_all(path)
    shape = (64, 96, 3) if rotation % 180 == 0 else (96, 64, 3)
    assert (metadata.height, metadata.width, 3) == shape
    # `mirrored` mirrors the turned picture; the reader tells what comes to the same, mirroring first.
    assert (metadata.rotation, metadata.mirrored) == (-rotation % 360 if mirrored else rotation, mirrored)
    for number, frame in enumerate(frames):
        assert frame.image.shape == shape
        coded = numbered_picture(number, 96, 64)
        shown = np.rot90(coded, rotation // 90)[:, :: -1 if mirrored else 1]
        assert np.abs(frame.image.astype(int) - shown).mean() < 12
    np.testing.assert_array_equal(read_frames(path, [3])[0], frames[3].image)


@pytest.mark.parametrize("rotation", [0, 90])
@pytest.mark.parametrize("coded", [90, 180])
def test_the_container_overrules_the_orientation_that_is_coded(render, tmp_path, rotation, coded):
    path = render("source.mp4", 30, rotation=rotation, gop=5, b_frames=0)
    target = tmp_path / "both.mp4"
    with av.open(str(path)) as source, av.open(str(target), "w") as copy:
        stream = source.streams.video[0]
        insert = f"h264_metadata=display_orientation=insert:rotate={coded}"
        insert_message = BitStreamFilterContext(insert, stream)
        written = copy.add_stream_from_template(stream, opaque=True)
        for packet in source.demux(stream):
            for changed in insert_message.filter(packet) if packet.size else ():
                changed.stream = written
                copy.mux(changed)
    frames, _, metadata = read_all(target)
    shown = rotation or coded  # without a matrix, what the first picture states holds for all
    assert metadata.rotation == shown
    turned_back = (np.rot90(frame.image, -shown // 90) for frame in frames)
    assert read_numbers(turned_back) == list(range(30))
    for number in (0, 7, 29):
        np.testing.assert_array_equal(read_frames(target, [number])[0], frames[number].image)


def render_flat(path, planes, pixel_format, matrix, color_range, codec="ffv1"):
    """One frame of a flat colour, given as the values of its planes, losslessly coded."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 32, pixel_format
        stream.codec_context.colorspace, stream.codec_context.color_range = matrix, color_range
        frame = av.VideoFrame(32, 32, pixel_format)
        frame.colorspace, frame.color_range = matrix, color_range
        for plane, value in zip(frame.planes, planes, strict=True):
            width = 2 if pixel_format.endswith("le") else 1
            plane.update(np.full(plane.buffer_size // width, value, f"<u{width}").tobytes())
        container.mux(stream.encode(frame) + stream.encode())
    return path


def rgb_by_hand(y, u, v, matrix, is_full_range):
    """ITU-R BT.601 / BT.709 / BT.2020, 8 bit."""
    kr, kb = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 2: (0.299, 0.114), 9: (0.2627, 0.0593)}[matrix]
    luma, cb, cr = (
        (y, u - 128, v - 128)
        if is_full_range
        else ((y - 16) * 255 / 219, (u - 128) * 255 / 224, (v - 128) * 255 / 224)
    )
    red, blue = luma + 2 * (1 - kr) * cr, luma + 2 * (1 - kb) * cb
    return np.clip([red, (luma - kr * red - kb * blue) / (1 - kr - kb), blue], 0, 255)


@pytest.mark.parametrize("is_full_range", [False, True])
@pytest.mark.parametrize("matrix", [1, 2, 5, 9])
@pytest.mark.parametrize("pixel_format", ["yuv444p", "yuv420p", "yuv420p10le"])
def test_colour_matrix_and_range_are_respected(tmp_path, pixel_format, matrix, is_full_range):
    y, u, v = 120, 90, 170
    scale = 4 if "10" in pixel_format else 1
    path = render_flat(
        tmp_path / "flat.mkv",
        (y * scale, u * scale, v * scale),
        pixel_format,
        matrix,
        2 if is_full_range else 1,
    )
    frames, _, metadata = read_all(path)
    assert metadata.pixel_format == pixel_format
    np.testing.assert_allclose(frames[0].image[16, 16], rgb_by_hand(y, u, v, matrix, is_full_range), atol=2.5)


def test_a_colour_matrix_that_cannot_be_converted_is_read_as_bt601(tmp_path):
    path = render_flat(tmp_path / "ycgco.mkv", (120, 90, 170), "yuv444p", 8, 1)
    np.testing.assert_allclose(
        read_all(path)[0][0].image[9, 9], rgb_by_hand(120, 90, 170, 5, False), atol=2.5
    )


def test_full_range_jpeg_is_not_stretched(render):
    frames, _, metadata = read_all(render("a.avi", 3, codec="mjpeg", size=(64, 64)))
    assert metadata.pixel_format == "yuvj420p"
    assert np.abs(frames[0].image.astype(int) - numbered_picture(0, 64, 64)).mean() < 4


def test_gray_becomes_three_equal_channels(render):
    frames, _, metadata = read_all(render("gray.mkv", 3, codec="ffv1", pixel_format="gray"))
    assert metadata.pixel_format == "gray"
    assert (frames[1].image[..., :1] == frames[1].image).all()
    assert read_numbers(frame.image for frame in frames) == [0, 1, 2]


def test_lossless_rgb_comes_back_exactly_in_memory_of_its_own(render):
    path = render("rgb.mkv", 5, codec="ffv1", pixel_format="bgr0")
    frames, _, _ = read_all(path)
    for number, frame in enumerate(frames):
        np.testing.assert_array_equal(frame.image, numbered_picture(number, 96, 64))
    raw = render("raw.avi", 5, codec="rawvideo", pixel_format="rgb24")
    for number, frame in enumerate(VideoReader(raw)):
        np.testing.assert_array_equal(frame.image, numbered_picture(number, 96, 64))
        frame.image[:] = 0  # must not reach into the decoder


def test_alpha_is_dropped(tmp_path):
    picture = np.zeros((16, 16, 4), np.uint8)
    picture[..., :3], picture[:8, :, 3] = (200, 100, 50), 255
    with av.open(str(tmp_path / "alpha.mov"), "w") as container:
        stream = container.add_stream("png", rate=25)
        stream.width, stream.height, stream.pix_fmt = 16, 16, "rgba"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgba")) + stream.encode())
    frames, _, _ = read_all(tmp_path / "alpha.mov")
    np.testing.assert_array_equal(frames[0].image, picture[..., :3])


@pytest.mark.parametrize("size", [(2, 2), (5, 33), (131, 97), (64, 48)])
def test_odd_sizes_are_exact(render, size):
    frames, _, _ = read_all(render("odd.mkv", 2, codec="ffv1", size=size, pixel_format="bgr0"))
    np.testing.assert_array_equal(frames[1].image, numbered_picture(1, *size))


def test_after_a_change_of_size_frames_keep_the_first_size(shared_data):
    frames, _, _ = read_all(shared_data / "hostile" / "resolution_change.ts")
    assert frames[-1].image.shape == (240, 320, 3)
    assert frames[-1].image.std() > 10


def test_cover_art_is_not_the_video(render, tmp_path):
    frames, _, metadata = read_all(render("cover.mp4", 4, cover_art=True))
    assert (len(frames), metadata.width) == (4, 96)
    with av.open(str(tmp_path / "song.mp4"), "w") as container:
        sound = container.add_stream("aac", rate=16000, layout="mono")
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 64, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic.value
        container.start_encoding()
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        silence.sample_rate = 16000
        picture = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), "rgb24")
        for packet in cover.encode(picture) + cover.encode() + sound.encode(silence) + sound.encode():
            container.mux(packet)
    with pytest.raises(VideoDecodeError, match=r"no video stream.*cover art does not count"):
        VideoReader(tmp_path / "song.mp4")


def test_metadata_tell_what_is_declared(render):
    _, _, metadata = read_all(render("a.mp4", 40))
    assert (metadata.width, metadata.height, metadata.fps, metadata.codec) == (96, 64, 25.0, "h264")
    assert (metadata.num_frames_declared, metadata.duration_declared_s) == (40, 1.6)
    assert (metadata.pixel_format, metadata.pixel_aspect) == ("yuv420p", 1.0)
    assert "mp4" in metadata.container
    assert decoder_version().startswith(f"PyAV {av.__version__}, libavcodec ")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.mkv", {"b_frames": 0}),
        ("b.mkv", {}),
        ("c.mkv", {"codec": "libvpx-vp9"}),
        ("a.webm", {"codec": "libvpx"}),
        ("a.flv", {"b_frames": 0}),
        ("a.ts", {"b_frames": 0}),
        ("a.nut", {"b_frames": 0}),
    ],
)
def test_equal_stamps_are_no_times(render, tmp_path, name, options):
    if name == "a.nut" and int(av.__version__.split(".")[0]) < 18:
        pytest.skip("PyAV 17 writes NUT at another frame rate")
    path = render(name, 30, **options)
    equal = write_packets(path, tmp_path / name, lambda packets: [(bytes(packet), 0) for packet in packets])
    frames, report, metadata = read_all(equal)
    assert metadata.fps == 25
    np.testing.assert_allclose([frame.time_s * 25 for frame in frames], range(30))
    assert report.complete and report.num_repaired_times == 30
    index = index_frames(equal)
    np.testing.assert_array_equal(index.times_s, [frame.time_s for frame in frames])
    np.testing.assert_array_equal(read_frames(equal, [17], index)[0], frames[17].image)


def test_a_video_of_one_picture_has_its_time(render):
    for name, options in (("a.mkv", {}), ("a.ts", {}), ("a.webm", {"codec": "libvpx"})):
        frames, report, _ = read_all(render(name, 1, **options))
        assert [frame.time_s for frame in frames] == [0.0] and not report.num_repaired_times
