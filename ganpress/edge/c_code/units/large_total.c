/* A sum of more than 24 bits as the nearest float, half to even. */
static uint32_t total_as_float(uint32_t total)
{
    uint32_t unit = 1u;
    uint32_t rest;

    while (total / unit >= 16777216u) {
        unit *= 2u;
    }
    rest = total % unit;
    total -= rest;
    if (2u * rest > unit || (2u * rest == unit && (total / unit) % 2u == 1u)) {
        total += unit;
    }
    return total;
}
