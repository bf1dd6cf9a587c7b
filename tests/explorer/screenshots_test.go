package explorer

import (
	"bytes"
	"cmp"
	"flag"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var screenshots = flag.String("screenshots", "", "folder into which TestScreenshots writes the pictures of docs/explorer.md")

// maxPicture is the maximum size of a picture in bytes.
const maxPicture = 60_000

// savePicture writes a picture of the page into the folder of the flag -screenshots.
func (p *page) savePicture(name string) {
	p.t.Helper()
	captured, err := p.capture()
	require.NoError(p.t, err)
	picture, err := squeeze(captured)
	require.NoError(p.t, err)
	assert.Less(p.t, len(picture), maxPicture, name)
	if *screenshots != "" {
		require.NoError(p.t, os.WriteFile(filepath.Join(*screenshots, name+".png"), picture, 0o644))
	}
}

// squeeze reduces a picture to 256 colors, which makes the file three times smaller. It takes the
// most frequent colors, but not those that are similar to a more frequent one, so that the palette
// also contains rare colors, such as that of a single word.
func squeeze(picture []byte) ([]byte, error) {
	source, err := png.Decode(bytes.NewReader(picture))
	if err != nil {
		return nil, err
	}
	counts := map[color.RGBA]int{}
	bounds := source.Bounds()
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			counts[color.RGBAModel.Convert(source.At(x, y)).(color.RGBA)]++
		}
	}
	type count struct {
		color color.RGBA
		times int
	}
	var frequent []count
	for c, times := range counts {
		frequent = append(frequent, count{c, times})
	}
	slices.SortFunc(frequent, func(a, b count) int { return cmp.Compare(b.times, a.times) })
	var palette color.Palette
	for _, c := range frequent {
		isSimilar := func(taken color.Color) bool { return similar(taken.(color.RGBA), c.color) }
		if len(palette) < 256 && !slices.ContainsFunc(palette, isSimilar) {
			palette = append(palette, c.color)
		}
	}
	reduced := image.NewPaletted(bounds, palette)
	draw.Draw(reduced, bounds, source, bounds.Min, draw.Src)
	var out bytes.Buffer
	encoder := png.Encoder{CompressionLevel: png.BestCompression}
	err = encoder.Encode(&out, reduced)
	return out.Bytes(), err
}

// similar reports whether two colors can hardly be told apart.
func similar(a, b color.RGBA) bool {
	near := func(x, y uint8) bool { return max(x, y)-min(x, y) < 5 }
	return near(a.R, b.R) && near(a.G, b.G) && near(a.B, b.B)
}

// TestScreenshots takes the pictures of docs/explorer.md: each page in light and dark. Without the
// flag -screenshots, it only checks that they can be taken and are small.
func TestScreenshots(t *testing.T) {
	t.Parallel()
	w := newWorld(t, brokers["redis"](t))
	w.goShopping(t)
	p := openExplorer(t, w)
	for _, scheme := range []string{"light", "dark"} {
		p.prefer(scheme)
		for _, view := range views {
			p.visit(view.route)
			p.shows(view.ready)
			if view.prepare != nil {
				view.prepare(p)
			}
			p.savePicture("explorer-" + view.name + "-" + scheme)
		}
	}
}
