/* Rows become columns: (height, width) -> (width, height); turns planes of channels into pixels, and back. */
static void turn_planes(const void *in, void *out, int32_t height, int32_t width, size_t size)
{
    const uint8_t *const from = in;
    uint8_t *to = out;
    int32_t y, x;

    for (x = 0; x < width; x++) {
        for (y = 0; y < height; y++) {
            memcpy(to, from + ((size_t)y * (size_t)width + (size_t)x) * size, size);
            to += size;
        }
    }
}
