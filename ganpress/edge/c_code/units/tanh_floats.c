static void tanh_floats(const float *in, float *out, int32_t count)
{
    int32_t place;

    for (place = 0; place < count; place++) {
        out[place] = tanhf(in[place]);
    }
}
