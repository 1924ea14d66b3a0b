"""Networks that turn a face into a vector: the only package of quality that imports dlib, facenet-pytorch, OpenVINO."""
