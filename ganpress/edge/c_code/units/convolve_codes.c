/* A convolution in integers: four places at once, row by row of the weights.
   `scratch` holds four patches and one row of weights, 5 * taps + 3 bytes. */
static void convolve_codes(const integer_layer_t *one, const uint8_t *in, uint8_t *out, uint8_t *scratch)
{
    const layer_t *const layer = &one->layer;
    const int32_t places = (int32_t)layer->places_high * (int32_t)layer->places_wide;
    const int32_t taps = (int32_t)layer->taps, factor = (int32_t)layer->factor;
    const int32_t channels = (int32_t)layer->out_channels / (int32_t)layer->groups;
    int8_t *const row_space = (int8_t *)(scratch + 4 * taps);
    int32_t group, first, channel, dy, dx, number;

    for (group = 0; group < (int32_t)layer->groups; group++) {
        for (first = 0; first < places; first += 4) {
            const int32_t count = (places - first < 4) ? places - first : 4;
            int32_t row = group * channels * factor * factor;
            const uint8_t *patches[4];
            place_t at[4];
            int32_t sums[4];

            for (number = 0; number < 4; number++) {
                at[number] = place_of(layer, first + ((number < count) ? number : 0));
                patches[number] = (number < count)
                    ? gather_codes(layer, in, group, &at[number], one->zero, scratch + number * taps)
                    : patches[0];
            }
            for (channel = group * channels; channel < (group + 1) * channels; channel++) {
                for (dy = 0; dy < factor; dy++) {
                    for (dx = 0; dx < factor; dx++, row++) {
                        const int8_t *const weights = weights_of(one, row, row_space);
                        const int32_t away = (dy * (int32_t)layer->out_width + dx) * (int32_t)layer->out_channels;
                        const rounding_t rounding = rounding_of(one, row);

                        if (count == 1) {
                            sums[0] = sum_of_one(patches[0], weights, taps);
                        } else {
                            sums_of_four(patches, weights, taps, sums);
                        }
                        for (number = 0; number < count; number++) {
                            if (at[number].whole || is_inside(layer, &at[number], dy, dx)) {
                                out[at[number].first + away + channel] = code_of(&rounding, sums[number]);
                            }
                        }
                    }
                }
            }
        }
    }
}
