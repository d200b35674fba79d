/* A map whose channels are some of another one's, in any order; a value has `size` bytes. */
static void pick_channels(const uint16_t *channels, int32_t count, const void *in, int32_t in_channels, void *out,
                          int32_t pixels, size_t size)
{
    const uint8_t *from = in;
    uint8_t *to = out;
    int32_t pixel, channel;

    for (pixel = 0; pixel < pixels; pixel++) {
        for (channel = 0; channel < count; channel++) {
            memcpy(to, from + (size_t)channels[channel] * size, size);
            to += size;
        }
        from += (size_t)in_channels * size;
    }
}
