/* What a convolution of codes has beside its geometry. Each row of weights makes one channel of one phase. */
typedef struct {
    layer_t layer;
    const uint8_t *weights;      /* rows of taps * weight_bits bits in two's complement, each from a whole byte on */
    const int32_t *starts;       /* of each row: what its sum begins with, bias and zero point of the input */
    const uint32_t *mantissas;   /* of each row: its multiplier is mantissa / 2^shift */
    const uint8_t *shifts;
    const uint8_t *table;        /* what is put out for each code; NULL for the code itself */
    uint8_t weight_bits;         /* 2, 4 or 8 */
    uint8_t zero;                /* code of zero in the input, which padding has */
    uint8_t low, high;           /* bounds of the codes */
} integer_layer_t;
