static void sigmoid_floats(const float *in, float *out, int32_t count)
{
    int32_t place;

    for (place = 0; place < count; place++) {
        out[place] = 1.0f / (1.0f + expf(-in[place]));
    }
}
