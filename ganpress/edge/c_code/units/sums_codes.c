/* Sums of codes times weights at four places at once: each weight is read once for all of them. */
static void sums_of_four(const uint8_t *const patch[4], const int8_t *weights, int32_t taps, int32_t sums[4])
{
    const uint8_t *const a = patch[0], *const b = patch[1], *const c = patch[2], *const d = patch[3];
    int32_t sum_a = 0, sum_b = 0, sum_c = 0, sum_d = 0;
    int32_t tap;

    for (tap = 0; tap < taps; tap++) {
        const int32_t weight = weights[tap];
        sum_a += weight * a[tap];
        sum_b += weight * b[tap];
        sum_c += weight * c[tap];
        sum_d += weight * d[tap];
    }
    sums[0] = sum_a;
    sums[1] = sum_b;
    sums[2] = sum_c;
    sums[3] = sum_d;
}

static int32_t sum_of_one(const uint8_t *patch, const int8_t *weights, int32_t taps)
{
    int32_t sum = 0;
    int32_t tap;

    for (tap = 0; tap < taps; tap++) {
        sum += (int32_t)weights[tap] * patch[tap];
    }
    return sum;
}
