/* Other codes for codes: `steps` entries for each channel, or the same ones for all where it is 0. */
static void map_codes(const uint8_t *table, int32_t steps, const uint8_t *in, uint8_t *out, int32_t pixels,
                      int32_t channels)
{
    int32_t pixel, channel;

    for (pixel = 0; pixel < pixels; pixel++) {
        for (channel = 0; channel < channels; channel++) {
            *out++ = table[channel * steps + *in++];
        }
    }
}
