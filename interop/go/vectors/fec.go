package vectors

import (
	"bytes"
	"context"
	"fmt"

	"github.com/klauspost/reedsolomon"
)

type fecVectors struct {
	Source  string      `json:"source"`
	Shard   string      `json:"shard"`
	Payload string      `json:"payload"`
	Groups  []fecVector `json:"groups"`
}

type fecVector struct {
	DataShards   int        `json:"data_shards"`
	ParityShards int        `json:"parity_shards"`
	PayloadLens  []int      `json:"payload_lens"`
	ShardLen     int        `json:"shard_len"`
	Parity       []hexBytes `json:"parity"`
}

// fecRatio is data and parity shards of a group; the zero value is FEC off.
type fecRatio struct{ data, parity int }

func (r fecRatio) group() int { return r.data + r.parity }

// unsent is how many packets of the first group kcp-go never sends. It skips parity when the last two data packets
// are 500 ms or more apart, and before the first packet it takes that time to be 1970: groups of one data packet
// therefore start without parity, though the sequence ids still count it.
func (r fecRatio) unsent() int {
	if r.data == 1 {
		return r.parity
	}
	return 0
}

// wholeGroups says whether a session's first n packets end with a group.
func (r fecRatio) wholeGroups(n int) bool {
	return r.group() == 0 || (n+r.unsent())%r.group() == 0
}

func makeFECVectors(ctx context.Context) (fecVectors, error) {
	vectors := fecVectors{
		Source:  vectorSource(),
		Shard:   "size u16 little endian = 2 + payload length | payload | zeros up to shard_len",
		Payload: "byte j of shard i = (i*31 + j*7 + 3) & 0xff",
	}
	for _, ratio := range []fecRatio{{1, 1}, {2, 1}, {3, 1}, {10, 3}, {20, 5}, {5, 5}} {
		// The encoder below is ours around kcp-go's codec; a real session says whether it builds the same parity.
		if _, err := captureSession(ctx, link{cipher: "null", ratio: ratio, conv: 1}, steadyWrites(ratio)); err != nil {
			return vectors, fmt.Errorf("ratio %d/%d: %w", ratio.data, ratio.parity, err)
		}
		for _, lens := range [][]int{shortFECLens(ratio), longFECLens(ratio)} {
			group, err := makeFECVector(ratio, lens)
			if err != nil {
				return vectors, err
			}
			vectors.Groups = append(vectors.Groups, group)
		}
	}
	return vectors, nil
}

// shortFECLens includes an empty payload and an odd longest one; longFECLens is one full packet among small ones,
// so most of its other shards are padding.
func shortFECLens(ratio fecRatio) []int {
	lens := make([]int, ratio.data)
	for i := range lens {
		lens[i] = (i*23 + 24*(i+1)) % 151
	}
	lens[len(lens)-1] = 0
	lens[0] = 155
	return lens
}

func longFECLens(ratio fecRatio) []int {
	lens := make([]int, ratio.data)
	for i := range lens {
		lens[i] = 24 + i*i*5%700
	}
	lens[len(lens)/2] = 1372
	return lens
}

func makeFECVector(ratio fecRatio, lens []int) (fecVector, error) {
	shards := make([][]byte, len(lens))
	for i, length := range lens {
		payload := make([]byte, length)
		for j := range payload {
			payload[j] = byte(i*31 + j*7 + 3)
		}
		shards[i] = fecShard(payload)
	}
	parity, err := encodeParity(ratio, shards)
	if err != nil {
		return fecVector{}, err
	}
	vector := fecVector{DataShards: ratio.data, ParityShards: ratio.parity, PayloadLens: lens, ShardLen: len(parity[0])}
	for _, shard := range parity {
		vector.Parity = append(vector.Parity, shard)
	}
	return vector, nil
}

// encodeParity pads the shards of a group to the longest and computes its parity.
func encodeParity(ratio fecRatio, data [][]byte) ([][]byte, error) {
	codec, err := reedsolomon.New(ratio.data, ratio.parity)
	if err != nil {
		return nil, err
	}
	longest := 0
	for _, shard := range data {
		longest = max(longest, len(shard))
	}
	shards := make([][]byte, ratio.group())
	for i := range shards {
		shards[i] = make([]byte, longest)
		if i < len(data) {
			copy(shards[i], data[i])
		}
	}
	if err := codec.Encode(shards); err != nil {
		return nil, err
	}
	return shards[ratio.data:], nil
}

// checkGroups compares the parity of a new session's groups with what encodeParity makes of their data, and the
// sequence ids with the positions.
func checkGroups(ratio fecRatio, packets []fecPacket) error {
	if ratio.group() == 0 {
		return nil
	}
	if ratio.unsent() > 0 && len(packets) > 0 {
		if first := packets[0]; first.kind != fecData || first.seqid != 0 {
			return fmt.Errorf("the first packet is kind %#x with seqid %d", first.kind, first.seqid)
		}
		return checkWholeGroups(ratio, packets[1:], uint32(ratio.group()))
	}
	return checkWholeGroups(ratio, packets, 0)
}

func checkWholeGroups(ratio fecRatio, packets []fecPacket, seqid uint32) error {
	for ; len(packets) >= ratio.group(); packets = packets[ratio.group():] {
		var data [][]byte
		for i, p := range packets[:ratio.group()] {
			want := uint16(fecParity)
			if i < ratio.data {
				want = fecData
				data = append(data, p.shard)
			}
			if p.kind != want || p.seqid != seqid {
				return fmt.Errorf("want kind %#x with seqid %d, got %#x with %d", want, seqid, p.kind, p.seqid)
			}
			seqid++
		}
		parity, err := encodeParity(ratio, data)
		if err != nil {
			return err
		}
		for i, shard := range parity {
			if !bytes.Equal(shard, packets[ratio.data+i].shard) {
				return fmt.Errorf("parity %d of the group that ends before seqid %d differs", i, seqid)
			}
		}
	}
	if len(packets) > 0 {
		return fmt.Errorf("%d packets after the last whole group", len(packets))
	}
	return nil
}
