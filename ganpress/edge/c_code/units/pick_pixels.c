/* A map whose rows and columns are those of another one: padding, cropping, upsampling to the nearest.
   -1 stands for a row or a column of padding, whose pixels are `filling`; pixels are `size` bytes large. */
static void pick_pixels(const int16_t *rows, int32_t height, const int16_t *columns, int32_t width,
                        const void *filling, const void *in, int32_t in_width, void *out, size_t size)
{
    const uint8_t *const from = in;
    uint8_t *to = out;
    int32_t y, x;

    for (y = 0; y < height; y++) {
        for (x = 0; x < width; x++) {
            if (rows[y] >= 0 && columns[x] >= 0) {
                memcpy(to, from + ((size_t)rows[y] * (size_t)in_width + (size_t)columns[x]) * size, size);
            } else if (filling != NULL) {
                memcpy(to, filling, size);
            }
            to += size;
        }
    }
}
