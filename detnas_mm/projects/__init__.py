"""From a folder of images with boxes to a project that searches."""
