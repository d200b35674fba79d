/* What a convolution of floats has beside its geometry. */
typedef struct {
    layer_t layer;
    const float *weights;   /* rows of taps weights */
    const float *biases;    /* of each row */
} float_layer_t;

/* A convolution in floats; `patch` has room for taps values. */
static void convolve_floats(const float_layer_t *one, const float *in, float *out, float *patch)
{
    const layer_t *const layer = &one->layer;
    const int32_t places = (int32_t)layer->places_high * (int32_t)layer->places_wide;
    const int32_t taps = (int32_t)layer->taps, factor = (int32_t)layer->factor;
    const int32_t channels = (int32_t)layer->out_channels / (int32_t)layer->groups;
    int32_t group, number, channel, dy, dx, tap;

    for (group = 0; group < (int32_t)layer->groups; group++) {
        for (number = 0; number < places; number++) {
            const place_t place = place_of(layer, number);
            const float *const values = gather_floats(layer, in, group, &place, 0.0f, patch);
            int32_t row = group * channels * factor * factor;

            for (channel = group * channels; channel < (group + 1) * channels; channel++) {
                for (dy = 0; dy < factor; dy++) {
                    for (dx = 0; dx < factor; dx++, row++) {
                        const int32_t away = (dy * (int32_t)layer->out_width + dx) * (int32_t)layer->out_channels;
                        const float *const weights = one->weights + row * taps;
                        float sums[4] = {0.0f, 0.0f, 0.0f, 0.0f}; /* apart, so that they need not wait */

                        for (tap = 0; tap + 4 <= taps; tap += 4) {
                            sums[0] += weights[tap] * values[tap];
                            sums[1] += weights[tap + 1] * values[tap + 1];
                            sums[2] += weights[tap + 2] * values[tap + 2];
                            sums[3] += weights[tap + 3] * values[tap + 3];
                        }
                        for (; tap < taps; tap++) {
                            sums[0] += weights[tap] * values[tap];
                        }
                        if (place.whole || is_inside(layer, &place, dy, dx)) {
                            out[place.first + away + channel] = ((sums[0] + sums[1]) + (sums[2] + sums[3])) + one->biases[row];
                        }
                    }
                }
            }
        }
    }
}
