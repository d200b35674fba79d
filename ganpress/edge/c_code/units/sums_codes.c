/* Sums of codes times weights at four places at once: each weight is read once for all of them. */
static void sums_of_four(const uint8_t *const patch[4], const int8_t *weights, int32_t taps, int32_t sums[4])
{
    const uint8_t *a = patch[0], *b = patch[1], *c = patch[2], *d = patch[3];
    const int8_t *const end = weights + taps;
    int32_t sum_a = 0, sum_b = 0, sum_c = 0, sum_d = 0;

    while (weights < end) {
        const int32_t weight = *weights++;
        sum_a += weight * *a++;
        sum_b += weight * *b++;
        sum_c += weight * *c++;
        sum_d += weight * *d++;
    }
    sums[0] = sum_a;
    sums[1] = sum_b;
    sums[2] = sum_c;
    sums[3] = sum_d;
}

static int32_t sum_of_one(const uint8_t *patch, const int8_t *weights, int32_t taps)
{
    const int8_t *const end = weights + taps;
    int32_t sum = 0;

    while (end - weights >= 4) {
        sum += (int32_t)weights[0] * patch[0];
        sum += (int32_t)weights[1] * patch[1];
        sum += (int32_t)weights[2] * patch[2];
        sum += (int32_t)weights[3] * patch[3];
        weights += 4;
        patch += 4;
    }
    while (weights < end) {
        sum += (int32_t)*weights++ * *patch++;
    }
    return sum;
}
