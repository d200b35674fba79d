/* Multiply each channel by a number. */
static void scale_channels(const float *scales, const float *in, float *out, int32_t pixels, int32_t channels)
{
    int32_t pixel, channel;

    for (pixel = 0; pixel < pixels; pixel++) {
        for (channel = 0; channel < channels; channel++) {
            *out++ = *in++ * scales[channel];
        }
    }
}
