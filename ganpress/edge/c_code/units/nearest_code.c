/* The code of a real that lies `steps` from zero: the nearest whole number, half to even. */
static uint8_t nearest_code(float steps, int32_t zero, int32_t high)
{
    int32_t whole;
    float rest;

    if (!(steps > (float)-zero)) {
        return 0u;
    }
    if (steps >= (float)(high - zero)) {
        return (uint8_t)high;
    }
    whole = (int32_t)steps;
    rest = steps - (float)whole;
    if (rest > 0.5f || (rest == 0.5f && whole % 2 != 0)) {
        whole++;
    } else if (rest < -0.5f || (rest == -0.5f && whole % 2 != 0)) {
        whole--;
    }
    return (uint8_t)(whole + zero);
}

/* How reals are rounded to codes: one scale for all channels, or one for each (`each` is 0 or 1). */
typedef struct {
    const float *scales;
    const float *offsets;
    const uint8_t *zeros;
    uint8_t each, high;
} coding_t;

static void encode_floats(const coding_t *coding, const float *in, uint8_t *out, int32_t pixels, int32_t channels)
{
    int32_t pixel, channel;

    for (pixel = 0; pixel < pixels; pixel++) {
        for (channel = 0; channel < channels; channel++) {
            const int32_t place = coding->each ? channel : 0;
            const float steps = (*in++ - coding->offsets[place]) / coding->scales[place];
            *out++ = nearest_code(steps, coding->zeros[place], coding->high);
        }
    }
}
