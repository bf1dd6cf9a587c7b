package main

import (
	"fmt"
	"image/color"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	_ "gonum.org/v1/plot/vg/vgsvg" // registers the format svg
)

const plotWidth, plotHeight = 9 * vg.Inch, 4 * vg.Inch

var plotColors = []color.Color{
	color.RGBA{0x1b, 0x6c, 0xa8, 0xff}, color.RGBA{0x2a, 0x9d, 0x5c, 0xff},
	color.RGBA{0xd1, 0x49, 0x3f, 0xff}, color.RGBA{0x8e, 0x5a, 0xb5, 0xff},
}

// plot writes charts of the results to SVG files in the given directory.
func (all *results) plot(dir string) error {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	if err := all.plotRatios(filepath.Join(dir, "performance-ratios.svg")); err != nil {
		return err
	}
	return all.plotGrowth(filepath.Join(dir, "performance-growth.svg"))
}

// find returns the result of a benchmark, or nil if the benchmark was not run.
func (all *results) find(bus, size, name string) *result {
	for _, r := range all.Rows {
		if r.Bus == bus && r.Size == size && r.Name == name {
			return r
		}
	}
	return nil
}

// ratio divides the rate of a benchmark by that of the first raw transport to which it is compared,
// and returns the median over all rounds. bus and name identify the benchmark, which sends small
// messages. The second result is false if the benchmark was not run or is not compared to a raw
// transport.
func (all *results) ratio(bus, name string) (float64, bool) {
	r := all.find(bus, small.name, name)
	if r == nil || len(r.Ratios) == 0 || r.Ratios[0].To == rivalName(name) {
		return 0, false
	}
	return r.Ratios[0].Median, true
}

// plotRatios draws a bar chart of the rates of selected benchmarks on NATS and Redis. Each rate is
// relative to that of a raw transport; see ratio. Benchmarks that were not run are omitted.
func (all *results) plotRatios(file string) error {
	names := slices.DeleteFunc([]string{
		"queue/c1", "queue/c64", "queue-noclaim/c64", "affinity-first/c64", "multi3/c16", "stream/send-ack/s1", "stream/echo/s16",
		"pub/multi1/max", "pub/multi10/max", "pub/queue4/max",
	}, func(name string) bool {
		_, onAny := all.ratio(onNATS, name)
		if !onAny {
			_, onAny = all.ratio(onRedis, name)
		}
		return !onAny
	})
	if len(names) == 0 {
		return nil
	}
	p := plot.New()
	p.Title.Text = "Rate at 64 B, where that of the bare transport is 1"
	p.Y.Min, p.Y.Max = 0, 1.2
	p.Legend.Top = true
	p.NominalX(names...)
	const width = 20
	for i, series := range []struct{ bus, label string }{
		{onNATS, "NATS"}, {onRedis, "Redis"},
	} {
		values := make(plotter.Values, len(names))
		for j, name := range names {
			values[j], _ = all.ratio(series.bus, name)
			p.Y.Max = max(p.Y.Max, 1.2*values[j])
		}
		bars, err := plotter.NewBarChart(values, vg.Points(width))
		if err != nil {
			return err
		}
		bars.Color, bars.LineStyle.Width = plotColors[i], 0
		bars.Offset = vg.Points((float64(i) - 0.5) * width)
		p.Add(bars)
		p.Legend.Add(series.label, bars)
	}
	limit := plotter.NewFunction(func(float64) float64 { return 1 })
	limit.Dashes = []vg.Length{vg.Points(4), vg.Points(4)}
	p.Add(limit)
	return p.Save(plotWidth, plotHeight, file)
}

// plotGrowth draws the median latency of a call as a function of the number of services, methods,
// topics and waiting calls.
func (all *results) plotGrowth(file string) error {
	p := plot.New()
	p.Title.Text = "Median time of an in-process call where there are many ..."
	p.X.Label.Text, p.Y.Label.Text = "how many", "µs"
	p.X.Scale = plot.LogScale{}
	var ticks plot.ConstantTicks
	for _, n := range growthCounts {
		ticks = append(ticks, plot.Tick{Value: float64(n), Label: strconv.Itoa(n)})
	}
	p.X.Tick.Marker = ticks
	p.Y.Min = 0
	p.Legend.Top, p.Legend.Left = true, true
	for i, dimension := range []string{"services", "methods", "topics", "pending"} {
		var points plotter.XYs
		for _, n := range growthCounts {
			if r := all.find(onLocal, small.name, growthName(dimension, n)); r != nil {
				points = append(points, plotter.XY{X: float64(n), Y: r.Median.P50 / 1e3})
				p.Y.Max = max(p.Y.Max, 1.2*r.Median.P50/1e3)
			}
		}
		if points == nil {
			continue
		}
		line, dots, err := plotter.NewLinePoints(points)
		if err != nil {
			return fmt.Errorf("%s: %w", dimension, err)
		}
		line.Color, dots.Color = plotColors[i], plotColors[i]
		p.Add(line, dots)
		p.Legend.Add(dimension, line, dots)
	}
	return p.Save(plotWidth, plotHeight, file)
}
