"""Labels: their text, files of labels, labelled folders of images, and which label a frame has."""
