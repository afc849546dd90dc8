"""Commands that show what is there: files, pictures, the installation."""
