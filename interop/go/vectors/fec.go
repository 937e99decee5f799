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

// fecRatio is the number of data and parity shards in a group; the zero value means FEC off.
type fecRatio struct{ data, parity int }

func (r fecRatio) group() int { return r.data + r.parity }

// unsent returns the number of packets of the first group that kcp-go never sends. It skips parity if the last two data
// packets are at least 500 ms apart, and the time before the first packet is the zero time. With one data packet per
// group, the first group therefore has no parity, although its sequence id is used up.
func (r fecRatio) unsent() int {
	if r.data == 1 {
		return r.parity
	}
	return 0
}

// wholeGroups returns whether the first n packets of a session end at the end of a group.
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
		// makeFECVector uses an encoder of this package around kcp-go's codec. A real session proves that kcp-go
		// generates the same parity.
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

// shortFECLens includes an empty payload and a longest one of odd length. longFECLens has one full packet among small
// ones, so that the other shards are mostly padding.
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

// encodeParity pads the shards of a group to the length of the longest and computes the parity.
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

// checkGroups compares the parity of a new session's groups with the result of encodeParity, and the sequence ids with
// the positions.
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
