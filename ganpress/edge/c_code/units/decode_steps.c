/* Reals that codes stand for: a scale and a zero point for each channel. */
static void decode_steps(const float *scales, const uint8_t *zeros, const uint8_t *in, float *out, int32_t pixels,
                         int32_t channels)
{
    int32_t pixel, channel;

    for (pixel = 0; pixel < pixels; pixel++) {
        for (channel = 0; channel < channels; channel++) {
            *out++ = (float)((int32_t)*in++ - (int32_t)zeros[channel]) * scales[channel];
        }
    }
}
