/* Write the channels of a map among those of a wider one, from its channel `first` on. */
static void join_channels(const void *in, int32_t channels, void *out, int32_t first, int32_t out_channels,
                          int32_t pixels, size_t size)
{
    const uint8_t *from = in;
    uint8_t *to = (uint8_t *)out + (size_t)first * size;
    int32_t pixel;

    for (pixel = 0; pixel < pixels; pixel++) {
        memcpy(to, from, (size_t)channels * size);
        from += (size_t)channels * size;
        to += (size_t)out_channels * size;
    }
}
