"""Quality, diversity and sharpness of images, as pure functions on features, probabilities and pixels."""
