/* All sums have 24 bits at most: they are floats as they are. */
static uint32_t total_as_float(uint32_t total)
{
    return total;
}
