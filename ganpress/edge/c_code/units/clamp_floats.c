static void clamp_floats(float low, float high, const float *in, float *out, int32_t count)
{
    int32_t place;

    for (place = 0; place < count; place++) {
        out[place] = (in[place] < low) ? low : ((in[place] > high) ? high : in[place]);
    }
}
