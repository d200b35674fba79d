"""Metrics of single images and of pairs of images, as pure functions on pixels."""
