/* One row of weights: a byte each. */
static const int8_t *weights_of(const integer_layer_t *one, int32_t number, int8_t *row)
{
    (void)row;
    return (const int8_t *)(one->weights + number * (int32_t)one->layer.taps);
}
