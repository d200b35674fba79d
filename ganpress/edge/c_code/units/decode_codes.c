/* Reals that codes stand for: `steps` values for each channel, or the same ones for all where it is 0. */
static void decode_codes(const float *reals, int32_t steps, const uint8_t *in, float *out, int32_t pixels,
                         int32_t channels)
{
    int32_t pixel, channel;

    for (pixel = 0; pixel < pixels; pixel++) {
        for (channel = 0; channel < channels; channel++) {
            *out++ = reals[channel * steps + *in++];
        }
    }
}
