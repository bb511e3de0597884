/*
 * The way into libjpeg-turbo: one call that decodes one file.
 *
 * This is C because libjpeg reports an error through a function that must not return. The way out is a longjmp, which
 * may not pass frames of Rust; so whatever can end in one is called here, below one setjmp. TurboJPEG, the library's
 * simpler interface, hides that, but warnings as well: it cannot tell one that is harmless from one after which the
 * rest of the picture is grey.
 */

#include <setjmp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <jpeglib.h>

#include <jerror.h>

/* What comes of a file; libjpeg.rs knows the numbers. */
enum outcome { DECODED = 0, DAMAGED = 1, FRACTIONAL_SAMPLING = 2, OUT_OF_MEMORY = 3 };

/* The length of what libjpeg.rs passes for a reason. */
_Static_assert(JMSG_LENGTH_MAX == 200, "libjpeg.rs must pass as much");

/* Rows of blocks between two looks at whether to stop. */
#define ROWS_BETWEEN_QUESTIONS 8

/* Rows asked for at a time: as many as an MCU has at most. */
#define ROWS 32

struct call {
    struct jpeg_decompress_struct info;
    struct jpeg_error_mgr errors;
    struct jpeg_progress_mgr progress;
    jmp_buf way_out;
    int max_scans;
    int (*stop)(void);
    unsigned asked;
    enum outcome outcome;
    /* JMSG_LENGTH_MAX bytes. */
    char *reason;
};

static struct call *call_of(j_common_ptr info)
{
    return (struct call *)info->client_data;
}

static void fail(struct call *call, const char *reason)
{
    call->outcome = DAMAGED;
    snprintf(call->reason, JMSG_LENGTH_MAX, "%s", reason);
    longjmp(call->way_out, 1);
}

static void on_error(j_common_ptr info)
{
    struct call *call = call_of(info);

    switch (info->err->msg_code) {
    case JERR_OUT_OF_MEMORY:
    /* Where max_memory is exceeded, libjpeg would go on in a file. */
    case JERR_NO_BACKING_STORE:
        call->outcome = OUT_OF_MEMORY;
        break;
    case JERR_FRACT_SAMPLE_NOTIMPL:
        call->outcome = FRACTIONAL_SAMPLING;
        break;
    default:
        call->outcome = DAMAGED;
    }
    (*info->err->format_message)(info, call->reason);
    longjmp(call->way_out, 1);
}

/* Warnings are negative; the rest tells the curious what is in the file. */
static void on_message(j_common_ptr info, int level)
{
    if (level >= 0)
        return;
    switch (info->err->msg_code) {
    /* Bytes between segments, or after the last coefficients of a scan. */
    case JWRN_EXTRANEOUS_DATA:
    /* A version of JFIF that nobody has seen yet. */
    case JWRN_JFIF_MAJOR:
    /* A colour transform that Adobe does not define; the usual one is taken. */
    case JWRN_ADOBE_XFORM:
    /* A sequential scan that states what only a progressive one has; some cameras write zeros. */
    case JWRN_NOT_SEQUENTIAL:
        return;
    /* Data that end early, invalid codes, lost restart markers, scans out of turn: pixels would be made up. */
    default:
        on_error(info);
    }
}

/* Nothing is printed. */
static void on_output(j_common_ptr info)
{
    (void)info;
}

/* Called for each row of blocks. Each scan of a file of several may take time for every block. */
static void on_progress(j_common_ptr info)
{
    struct call *call = call_of(info);

    if (call->info.input_scan_number > call->max_scans)
        fail(call, "the JPEG has too many scans");
    if (++call->asked % ROWS_BETWEEN_QUESTIONS == 0 && call->stop())
        fail(call, "stopped");
}

static void decode(struct call *call, const unsigned char *file, size_t length, unsigned char *pixels, unsigned width,
                   unsigned height, int channels, long max_memory)
{
    j_decompress_ptr info = &call->info;
    size_t stride = (size_t)width * (size_t)channels;
    int i;

    if (setjmp(call->way_out))
        return;

    jpeg_create_decompress(info);
    info->mem->max_memory_to_use = max_memory;
    info->progress = &call->progress;
    jpeg_mem_src(info, file, (unsigned long)length);
    jpeg_read_header(info, TRUE);
    info->out_color_space = channels == 4 ? JCS_CMYK : JCS_RGB;
    info->dct_method = JDCT_ISLOW;
    info->do_fancy_upsampling = TRUE;
    jpeg_start_decompress(info);

    if (info->output_width != width || info->output_height != height || info->output_components != channels)
        fail(call, "the JPEG's headers contradict each other");
    /* A component's quantisation table is latched by its first scan. */
    for (i = 0; i < info->num_components; i++)
        if (info->comp_info[i].quant_table == NULL)
            fail(call, "a JPEG component is never coded");

    while (info->output_scanline < height) {
        JSAMPROW rows[ROWS];
        JDIMENSION left = height - info->output_scanline, wanted = left < ROWS ? left : ROWS, row;

        for (row = 0; row < wanted; row++)
            rows[row] = pixels + (info->output_scanline + row) * stride;
        jpeg_read_scanlines(info, rows, wanted);
    }
    /* Reads on to the end-of-image marker. */
    jpeg_finish_decompress(info);
    call->outcome = DECODED;
}

/*
 * Decodes `file` into `pixels`, `height` rows of `width` pixels of `channels` bytes: 3 for RGB, or 4 for CMYK as it
 * is stored. The file must be of that size, or it is damaged. libjpeg keeps coefficients within `max_memory` bytes.
 * Decoding ends early once `stop` returns 1; it must not jump or unwind.
 * Of anything but success `reason`, JMSG_LENGTH_MAX bytes, tells more.
 */
int vs_jpeg_decode(const unsigned char *file, size_t length, unsigned char *pixels, unsigned width, unsigned height,
                   int channels, long max_memory, int max_scans, int (*stop)(void), char *reason)
{
    struct call call;

    memset(&call, 0, sizeof call);
    call.info.err = jpeg_std_error(&call.errors);
    call.info.client_data = &call;
    call.errors.error_exit = on_error;
    call.errors.emit_message = on_message;
    call.errors.output_message = on_output;
    call.progress.progress_monitor = on_progress;
    call.max_scans = max_scans;
    call.stop = stop;
    call.reason = reason;
    decode(&call, file, length, pixels, width, height, channels, max_memory);
    /* Frees what the call has allocated, however it ended. */
    jpeg_destroy_decompress(&call.info);
    return call.outcome;
}
