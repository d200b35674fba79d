/* One row of weights as bytes; packed ones are unpacked into `row`. */
static const int8_t *weights_of(const integer_layer_t *one, int32_t number, int8_t *row)
{
    const int32_t taps = (int32_t)one->layer.taps, bits = (int32_t)one->weight_bits;
    const uint8_t *packed = one->weights + number * ((taps * bits + 7) / 8);
    const uint32_t mask = (1u << bits) - 1u, sign = 1u << (bits - 1);
    int32_t tap, shift = 0;

    if (bits == 8) {
        return (const int8_t *)packed;
    }
    for (tap = 0; tap < taps; tap++) {
        const uint32_t value = ((uint32_t)*packed >> shift) & mask;
        row[tap] = (int8_t)((int32_t)(value ^ sign) - (int32_t)sign);
        shift += bits;
        if (shift == 8) {
            shift = 0;
            packed++;
        }
    }
    return row;
}
