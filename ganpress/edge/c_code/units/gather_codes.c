/* The values under the kernel at one place, in the order of a row's weights: kernel row, kernel column, channel.
   Away from the border whole rows are copied. */
static const uint8_t *gather_codes(const layer_t *layer, const uint8_t *in, int32_t group, const place_t *place, uint8_t zero, uint8_t *patch)
{
    const int32_t channels = (int32_t)layer->in_channels / (int32_t)layer->groups;
    const int32_t height = (int32_t)layer->in_height, width = (int32_t)layer->in_width;
    const int32_t top = place->row * (int32_t)layer->stride_height - (int32_t)layer->pad_top;
    const int32_t left = place->column * (int32_t)layer->stride_width - (int32_t)layer->pad_left;
    const int32_t step = (int32_t)layer->dilation_width, rows = (int32_t)layer->kernel_height;
    const int32_t columns = (int32_t)layer->kernel_width;
    const int whole = step == 1 && layer->groups == 1u && left >= 0 && left + columns <= width;
    uint8_t *next = patch;
    int32_t row, column, channel;

    if (reads_pixels(layer)) {
        return in + (top * width + left) * channels;
    }
    for (row = 0; row < rows; row++) {
        const int32_t y = top + row * (int32_t)layer->dilation_height;
        const int inside = y >= 0 && y < height;
        if (inside && whole) {
            memcpy(next, in + (y * width + left) * channels, (size_t)(columns * channels) * sizeof *next);
            next += columns * channels;
            continue;
        }
        for (column = 0; column < columns; column++) {
            const int32_t x = left + column * step;
            const int within = inside && x >= 0 && x < width;
            const int32_t first = within ? (y * width + x) * (int32_t)layer->in_channels + group * channels : 0;
            for (channel = 0; channel < channels; channel++) {
                *next++ = within ? in[first + channel] : zero;
            }
        }
    }
    return patch;
}
