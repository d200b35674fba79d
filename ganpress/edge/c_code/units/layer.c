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

/* One place of the kernel, and where its results go. */
typedef struct {
    int32_t row, column;
    int32_t y, x;        /* the pixel at the top left of what it draws */
    int32_t first;       /* index of that pixel's first channel in the output */
    int whole;           /* whether nothing of it is cut off */
} place_t;

static place_t place_of(const layer_t *layer, int32_t number)
{
    const int32_t factor = (int32_t)layer->factor;
    place_t place;

    place.row = number / (int32_t)layer->places_wide;
    place.column = number % (int32_t)layer->places_wide;
    place.y = place.row * factor - (int32_t)layer->crop_top;
    place.x = place.column * factor - (int32_t)layer->crop_left;
    place.first = (place.y * (int32_t)layer->out_width + place.x) * (int32_t)layer->out_channels;
    place.whole = place.y >= 0 && place.x >= 0 && place.y + factor <= (int32_t)layer->out_height
        && place.x + factor <= (int32_t)layer->out_width;
    return place;
}

/* Whether the pixel that lies (dy, dx) from the top left of what a place draws is one of the output. */
static int is_inside(const layer_t *layer, const place_t *place, int32_t dy, int32_t dx)
{
    const int32_t y = place->y + dy, x = place->x + dx;
    return y >= 0 && x >= 0 && y < (int32_t)layer->out_height && x < (int32_t)layer->out_width;
}

/* Whether the kernel reads single pixels as they lie in memory, so that nothing has to be gathered. */
static int reads_pixels(const layer_t *layer)
{
    return layer->kernel_height == 1u && layer->kernel_width == 1u && layer->groups == 1u
        && layer->pad_top == 0u && layer->pad_left == 0u;
}
