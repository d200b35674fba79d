static void add_floats(const float *a, const float *b, float *out, int32_t count)
{
    int32_t place;

    for (place = 0; place < count; place++) {
        out[place] = a[place] + b[place];
    }
}
