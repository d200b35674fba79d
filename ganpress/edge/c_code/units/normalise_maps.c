/* Each channel less its mean, over its deviation, both of this map; `epsilon` is added to the variance. */
static void normalise_maps(float epsilon, const float *in, float *out, int32_t pixels, int32_t channels)
{
    int32_t pixel, channel;

    for (channel = 0; channel < channels; channel++) {
        float mean = 0.0f, square = 0.0f, factor;
        for (pixel = 0; pixel < pixels; pixel++) {
            mean += in[pixel * channels + channel];
        }
        mean /= (float)pixels;
        for (pixel = 0; pixel < pixels; pixel++) {
            const float away = in[pixel * channels + channel] - mean;
            square += away * away;
        }
        factor = 1.0f / sqrtf(square / (float)pixels + epsilon);
        for (pixel = 0; pixel < pixels; pixel++) {
            out[pixel * channels + channel] = (in[pixel * channels + channel] - mean) * factor;
        }
    }
}
