# Shrinks a plain PPM picture (P3) until it fits into size × size: each pixel of the answer is the
# mean of a square of pixels. Exit 65 when the input is no such picture.
function give_up(why) {
    say(why)
    failed = 1
    exit 65
}

# Without the close, awk could end before its message is written.
function say(why) {
    print why | "cat 1>&2"
    close("cat 1>&2")
}

function token(t) {
    n++
    if (n == 1) {
        if (t != "P3") give_up("not a plain PPM picture: it does not begin with P3")
        return
    }
    if (t !~ /^[0-9]+$/) give_up("not a plain PPM picture: token " n " is no number")
    if (n == 2) { w = t + 0; return }
    if (n == 3) { h = t + 0; return }
    if (n == 4) {
        max = t + 0
        if (w < 1 || h < 1 || max < 1) give_up("not a plain PPM picture: it has no pixels")
        longest = w > h ? w : h
        step = int((longest + size - 1) / size)
        return
    }
    pixel = int((n - 5) / 3)
    x = int((pixel % w) / step)
    y = int(int(pixel / w) / step)
    sum[x, y, (n - 5) % 3] += t
    count[x, y, (n - 5) % 3]++
}

{
    sub(/#.*/, "")
    for (i = 1; i <= NF; i++) token($i)
}

END {
    if (failed) exit 65
    if (n < 4 || n != 4 + 3 * w * h) {
        say("cut off: " n " of the picture's tokens are there")
        exit 65
    }
    across = int((w + step - 1) / step)
    down = int((h + step - 1) / step)
    print "P3"
    print across, down
    print max
    for (y = 0; y < down; y++)
        for (x = 0; x < across; x++)
            print int(sum[x, y, 0] / count[x, y, 0] + 0.5), \
                int(sum[x, y, 1] / count[x, y, 1] + 0.5), int(sum[x, y, 2] / count[x, y, 2] + 0.5)
}
