/* Where a product lies near the middle between two codes, its rounding to a float decides: 24 bits, half to even,
   and then once more to a code, half to even. Whether the upper code is taken. */
static int takes_upper(uint64_t product, uint32_t shift, uint32_t code)
{
    const uint64_t half = (uint64_t)1u << (shift - 1u);
    const uint64_t rest = product - ((uint64_t)code << shift);
    uint32_t bits = shift - 1u; /* of the product, whose highest bit is that of 1/2 where the code is 0 */
    uint32_t left = code;
    uint64_t margin;

    while (left != 0u) {
        bits++;
        left >>= 1;
    }
    margin = (bits >= 24u) ? (uint64_t)1u << (bits - 24u) : 0u; /* half of the last bit that the float keeps */
    return (code % 2u == 1u) ? rest + margin >= half : rest > half + margin;
}

/* How the sums of one row become codes. */
typedef struct {
    const uint8_t *table;
    int32_t start;
    uint32_t mantissa, shift;
    uint32_t low, high;
} rounding_t;

static rounding_t rounding_of(const integer_layer_t *one, int32_t row)
{
    const rounding_t rounding = {
        one->table, one->starts[row], one->mantissas[row], one->shifts[row], one->low, one->high
    };
    return rounding;
}

/* The code of a sum, as float32 arithmetic gives it: sum * multiplier, rounded to the nearest code, half to even. */
static uint8_t code_of(const rounding_t *rounding, int32_t sum)
{
    const int32_t total = sum + rounding->start;
    uint32_t code = 0u;

    if (total > 0) {
        const uint64_t product = (uint64_t)total_as_float((uint32_t)total) * rounding->mantissa;
        const uint64_t fine = product >> (rounding->shift - 17u); /* 17 bits behind the point */

        if (fine >= (uint64_t)256u << 17) {
            code = 255u;
        } else {
            code = ((uint32_t)fine + 65536u) >> 17;
            if (((uint32_t)fine & 131071u) - 65535u <= 2u) {
                code = (uint32_t)fine >> 17;
                code += takes_upper(product, rounding->shift, code) ? 1u : 0u;
            }
        }
    }
    code = (code < rounding->low) ? rounding->low : ((code > rounding->high) ? rounding->high : code);
    return (rounding->table == NULL) ? (uint8_t)code : rounding->table[code];
}
