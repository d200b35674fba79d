/* One row of weights as bytes; packed ones are unpacked into `row`, which has room for three more. */
static const int8_t *weights_of(const integer_layer_t *one, int32_t number, int8_t *row)
{
    static const int8_t of_four_bits[16] = {0, 1, 2, 3, 4, 5, 6, 7, -8, -7, -6, -5, -4, -3, -2, -1};
    static const int8_t of_two_bits[4] = {0, 1, -2, -1};
    const int32_t taps = (int32_t)one->layer.taps, bits = (int32_t)one->weight_bits;
    const int32_t size = (taps * bits + 7) / 8;
    const uint8_t *packed = one->weights + number * size;
    const uint8_t *const end = packed + size;
    int8_t *next = row;

    if (bits == 8) {
        return (const int8_t *)packed;
    }
    if (bits == 4) {
        while (packed < end) {
            const uint32_t pair = *packed++;
            *next++ = of_four_bits[pair & 15u];
            *next++ = of_four_bits[pair >> 4];
        }
    } else {
        while (packed < end) {
            const uint32_t four = *packed++;
            *next++ = of_two_bits[four & 3u];
            *next++ = of_two_bits[(four >> 2) & 3u];
            *next++ = of_two_bits[(four >> 4) & 3u];
            *next++ = of_two_bits[four >> 6];
        }
    }
    return row;
}
