/* Add a number to each channel. */
static void shift_channels(const float *shifts, const float *in, float *out, int32_t pixels, int32_t channels)
{
    int32_t pixel, channel;

    for (pixel = 0; pixel < pixels; pixel++) {
        for (channel = 0; channel < channels; channel++) {
            *out++ = *in++ + shifts[channel];
        }
    }
}
