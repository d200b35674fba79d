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

/* The code of a sum, as float32 arithmetic gives it: sum * multiplier, rounded to the nearest code, half to even. */
static uint8_t code_of(const integer_layer_t *one, int32_t row, int32_t sum)
{
    const int32_t total = sum + one->starts[row];
    const uint32_t shift = one->shifts[row];
    uint32_t code = 0u;

    if (total > 0) {
        const uint64_t product = (uint64_t)total_as_float((uint32_t)total) * one->mantissas[row];
        const uint64_t fine = product >> (shift - 17u); /* 17 bits behind the point */
        if (fine >= (uint64_t)256u << 17) {
            return (one->table == NULL) ? one->high : one->table[one->high];
        }
        code = ((uint32_t)fine + 65536u) >> 17;
        if (((uint32_t)fine & 131071u) - 65535u <= 2u) {
            code = (uint32_t)fine >> 17;
            code += takes_upper(product, shift, code) ? 1u : 0u;
        }
    }
    code = (code < one->low) ? one->low : ((code > one->high) ? one->high : code);
    return (one->table == NULL) ? (uint8_t)code : one->table[code];
}
