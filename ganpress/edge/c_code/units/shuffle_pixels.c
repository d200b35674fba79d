/* Draw each channel factor x factor pixels large: channel (c * factor + y) * factor + x becomes pixel (y, x) of c. */
static void shuffle_pixels(const void *in, void *out, int32_t height, int32_t width, int32_t channels, int32_t factor,
                           size_t size)
{
    const uint8_t *const from = in;
    uint8_t *to = out;
    int32_t y, x, channel;

    for (y = 0; y < height * factor; y++) {
        for (x = 0; x < width * factor; x++) {
            const int32_t pixel = (y / factor) * width + x / factor;
            const int32_t phase = (y % factor) * factor + x % factor;
            for (channel = 0; channel < channels; channel++) {
                const int32_t place = (pixel * channels + channel) * factor * factor + phase;
                memcpy(to, from + (size_t)place * size, size);
                to += size;
            }
        }
    }
}
