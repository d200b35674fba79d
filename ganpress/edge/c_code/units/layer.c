/* A convolution: which values it reads, how it reads them, and where its results go. */
typedef struct {
    uint16_t in_height, in_width, in_channels;  /* of the map that is read */
    uint16_t groups;                            /* into which its channels are parted */
    uint16_t kernel_height, kernel_width;
    uint16_t stride_height, stride_width;
    uint16_t dilation_height, dilation_width;
    uint16_t pad_top, pad_left;
    uint16_t places_high, places_wide;          /* where the kernel stands */
    uint16_t out_height, out_width, out_channels;
    uint16_t factor;                            /* each channel is drawn factor x factor pixels large */
    uint16_t crop_top, crop_left;               /* pixels that are left away at the border */
    uint16_t taps;                              /* weights of a row: a result is the sum of as many products */
} layer_t;

/* Where the results of one place of the kernel go: the pixel at its top left, which may be cut off. */
typedef struct {
    int32_t y, x;
} place_t;

static place_t place_of(const layer_t *layer, int32_t number)
{
    const place_t place = {number / (int32_t)layer->places_wide, number % (int32_t)layer->places_wide};
    return place;
}

/* Index of a value in the output, or -1 where it is cut off. */
static int32_t target_of(const layer_t *layer, place_t place, int32_t dy, int32_t dx, int32_t channel)
{
    const int32_t y = place.y * (int32_t)layer->factor + dy - (int32_t)layer->crop_top;
    const int32_t x = place.x * (int32_t)layer->factor + dx - (int32_t)layer->crop_left;
    if (y < 0 || x < 0 || y >= (int32_t)layer->out_height || x >= (int32_t)layer->out_width) {
        return -1;
    }
    return (y * (int32_t)layer->out_width + x) * (int32_t)layer->out_channels + channel;
}

/* Whether the kernel reads single pixels as they lie in memory, so that nothing has to be gathered. */
static int reads_pixels(const layer_t *layer)
{
    return layer->kernel_height == 1u && layer->kernel_width == 1u && layer->groups == 1u
        && layer->pad_top == 0u && layer->pad_left == 0u;
}
