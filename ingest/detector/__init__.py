"""Face detection: the only package that imports OpenVINO and facenet-pytorch."""
