/* Values below zero times `slope`. */
static void leaky_relu(float slope, const float *in, float *out, int32_t count)
{
    int32_t place;

    for (place = 0; place < count; place++) {
        out[place] = (in[place] > 0.0f) ? in[place] : in[place] * slope;
    }
}
