"""What an edit does to the codons of a transcript, for many alleles and transcripts at once (spec 5).

Belongs here: the bases an allele really changes, spliced coding sequences, and the consequence of an edit on them.
Does not: reading annotation files, splice sites, UTRs and all other regions (`context`), and which transcript counts
(every transcript does; the most severe consequence wins).

The concept: all coding sequences of a contig lie end to end in ONE array of base codes, each in the direction it is
translated, so that a codon is three neighbours in it whatever the strand and however many introns it spans:

    genome   ...[==CDS 0==)------[===CDS 1===)...     segments, 0-based half-open
                     \\ copied, complemented and reversed on the minus strand /
    sequence |transcript 0: CDS 0, CDS 1|transcript 1 ...|transcript 2 ...|

Every codon begins at a multiple of three there: unknown bases stand for those that the annotation does not have of an
incomplete first or last codon, and where a segment's phase says that it begins in another frame than the one before it
ended in (a gap in an alignment).

Decisions that spec 5 leaves open:
- frameshift, stop gained and start lost are `coding_nonsense`. Start lost: the first codon is a start codon and no
  longer is one; a coding sequence whose first codon is none (an incomplete one) has no start to lose. ATG starts, in
  mitochondria ATA, ATC, ATT and GTG, too.
- stop lost is `coding_missense`: the protein is longer, not truncated. Stop retained is synonymous.
- an in-frame indel is `coding_missense`, and `coding_nonsense` when it brings a stop or takes the start away.
- a codon with an N in it, or cut short by either end of its sequence, cannot be translated. What another transcript
  says of the allele counts before that; if none does it is `coding_missense`, as most changes of a codon are (VEP has
  `coding_sequence_variant`, below synonymous). An indel there shifts the frame as anywhere else.
- TGA is read as selenocysteine where the annotation says so, and inside a whole coding sequence (a start codon first, a
  stop codon last, no other stop between): TGA to another stop is `coding_nonsense`, to a sense codon `coding_missense`.
  After an in-frame indel as many TGA are read so as before it; one more is a stop.
- an indel that leaves the segment it begins in (into an intron or UTR) is `coding_missense`, and `coding_nonsense` when
  it touches the start codon; the intron's own class, splice, is more severe and is added by `context`.
- an insertion is in the coding sequence when both its neighbours are, in the same segment; at a border it is not.
- indels are judged where VCF puts them (left-aligned), as VEP does by default; no shift to the 3' side.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from geno_model.genomics.texts import to_matrix

NONSENSE, MISSENSE, SYNONYMOUS, UNKNOWN, NOT_CODING = 0, 1, 2, 3, 4
"""Consequences, the most severe first. UNKNOWN: no codon can be translated; NOT_CODING: no coding base is touched."""

# Base codes T, C, A, G = 0..3 (the order of the genetic code tables, complement = code ^ 2); 4 is unknown.
_UNKNOWN = 4
_CODES = np.full(256, _UNKNOWN, dtype=np.uint8)
_CODES[np.frombuffer(b"TCAG", dtype=np.uint8)] = np.arange(4, dtype=np.uint8)
_COMPLEMENT = np.array([2, 3, 0, 1, _UNKNOWN], dtype=np.uint8)
_STANDARD = b"FFLLSSSSYY**CC*WLLLLPPPPHHQQRRRRIIIMTTTTNNKKSSRRVVVVAAAADDEEGGGGX"
_MITOCHONDRIAL = b"FFLLSSSSYY**CCWWLLLLPPPPHHQQRRRRIIMMTTTTNNKKSS**VVVVAAAADDEEGGGGX"  # vertebrate, NCBI table 2
_STOP, _START, _SELENOCYSTEINE, _NO_AMINO_ACID = ord("*"), ord("M"), ord("U"), ord("X")
_TGA, _ATG = 14, 35  # 16 * first + 4 * second + third base
_STARTS, _MITOCHONDRIAL_STARTS = (_ATG,), (32, 33, 34, _ATG, 51)  # ATT, ATC, ATA, ATG, GTG


@dataclass(frozen=True)
class ChangedSpans:
    """What alleles change on the reference, their shared bases trimmed.

    start_bp, end_bp: (n,) 0-based half-open; start_bp == end_bp is an insertion between start_bp - 1 and start_bp.
    alt: (n, w) uint8 ASCII, the bases that replace the span, padded with 0; alt_length: (n,).
    """

    start_bp: NDArray[np.int64]
    end_bp: NDArray[np.int64]
    alt: NDArray[np.uint8]
    alt_length: NDArray[np.int64]


def changed_spans(pos: pl.Series, ref: pl.Series, alt: pl.Series) -> ChangedSpans:
    """Trim the bases that ref and alt share, at the left end first (the VCF anchor base), then at the right end.

    pos: 1-based; ref, alt: ACGT strings of any length >= 1. Returns n spans in the same order.
    """
    ref_bases, ref_length = to_matrix(ref)
    alt_bases, alt_length = to_matrix(alt)
    width = min(ref_bases.shape[1], alt_bases.shape[1])
    shortest = np.minimum(ref_length, alt_length)
    column = np.arange(width)
    same = (ref_bases[:, :width] == alt_bases[:, :width]) & (column < shortest[:, None])
    left = np.logical_and.accumulate(same, axis=1).sum(axis=1)
    from_right_ref = np.take_along_axis(ref_bases, np.maximum(ref_length[:, None] - 1 - column, 0), axis=1)
    from_right_alt = np.take_along_axis(alt_bases, np.maximum(alt_length[:, None] - 1 - column, 0), axis=1)
    same = (from_right_ref == from_right_alt) & (column < (shortest - left)[:, None])
    right = np.logical_and.accumulate(same, axis=1).sum(axis=1)
    start = pos.to_numpy().astype(np.int64) - 1 + left
    kept = alt_length - left - right
    column = np.arange(alt_bases.shape[1])
    shifted = np.take_along_axis(alt_bases, np.minimum(left[:, None] + column, alt_bases.shape[1] - 1), axis=1)
    return ChangedSpans(start, start + ref_length - left - right, np.where(column < kept[:, None], shifted, 0), kept)


class CodingSequences:
    """All spliced coding sequences of one contig."""

    def __init__(
        self,
        cds: pl.DataFrame,
        bases: NDArray[np.uint8],
        selenocysteines: pl.DataFrame | None = None,
        *,
        mitochondrial: bool = False,
    ) -> None:
        """Lay out the sequences.

        cds: one row a segment: start_bp, end_bp, strand, phase, transcript_id, of one contig, in any order. bases: the
        contig, ASCII. selenocysteines: start_bp, end_bp, transcript_id of codons, or parts of them, that the annotation
        says are read so. mitochondrial: the genetic code.
        """
        forward = pl.col("strand") == "+"
        along = pl.when(forward).then(pl.col("start_bp")).otherwise(-pl.col("start_bp"))
        cds = cds.with_columns(along.alias("along")).sort("transcript_id", "along")
        self._start = cds["start_bp"].to_numpy().astype(np.int64)
        self._end = cds["end_bp"].to_numpy().astype(np.int64)
        self._forward = (cds["strand"] == "+").to_numpy()
        name = cds["transcript_id"]
        is_first = (name != name.shift(1)).fill_null(True).to_numpy()
        length, phase = self._end - self._start, cds["phase"].to_numpy().astype(np.int64)
        missing = (phase - length) % 3  # bases that a segment's last codon needs from the next one
        before = np.roll(missing, 1) if len(missing) else missing
        before[:1] = 0
        gap = np.where(is_first, before + -phase % 3, (before - phase) % 3)  # unknown bases before each segment
        self._offset = np.cumsum(gap + length) - length  # of each segment in the sequence
        self._transcript = np.cumsum(is_first) - 1  # of each segment
        self._transcript_start = (self._offset - -phase % 3)[is_first]
        n_bases = int((gap + length).sum() + missing[-1:].sum())
        self._transcript_end = np.append(self._transcript_start[1:], n_bases)
        self._sequence = self._splice(bases, length, n_bases)
        self._amino_acids = np.frombuffer(_MITOCHONDRIAL if mitochondrial else _STANDARD, dtype=np.uint8)
        self._is_start = np.isin(np.arange(65), _MITOCHONDRIAL_STARTS if mitochondrial else _STARTS)
        self._reads_on = self._read_through(selenocysteines, name)

    def consequences(self, spans: ChangedSpans) -> NDArray[np.int8]:
        """The most severe consequence of each edit over all transcripts, (n,) of NONSENSE to NOT_CODING."""
        worst = np.full(len(spans.start_bp), NOT_CODING, dtype=np.int8)
        if not len(self._start) or not len(worst):
            return worst
        edit, segment = overlapping_pairs(spans.start_bp, spans.end_bp, self._start, self._end)
        is_substitution = (spans.end_bp - spans.start_bp == spans.alt_length)[edit]
        self._judge_substitutions(spans, edit[is_substitution], segment[is_substitution], worst)
        self._judge_indels(spans, edit[~is_substitution], segment[~is_substitution], worst)
        return worst

    def _splice(self, bases: NDArray[np.uint8], length: NDArray[np.int64], n_bases: int) -> NDArray[np.uint8]:
        within = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length)
        forward = np.repeat(self._forward, length)
        position = np.where(forward, np.repeat(self._start, length) + within, np.repeat(self._end, length) - 1 - within)
        codes = _CODES[bases[position]]
        sequence = np.full(n_bases, _UNKNOWN, dtype=np.uint8)
        sequence[np.repeat(self._offset, length) + within] = np.where(forward, codes, _COMPLEMENT[codes])
        return sequence

    def _read_through(self, selenocysteines: pl.DataFrame | None, names: pl.Series) -> NDArray[np.bool_]:
        """Whether each codon of the sequence is a TGA read as selenocysteine. names: each segment's transcript."""
        codons = _numbers(self._sequence.reshape(-1, 3))
        is_stop = self._amino_acids[codons] == _STOP
        is_tga = is_stop & (codons == _TGA)  # in mitochondria TGA is tryptophan
        if not is_tga.any():
            return is_tga
        first, end = self._transcript_start // 3, self._transcript_end // 3
        ends_well = is_stop[end - 1]
        is_stop[end - 1] = False
        is_whole = self._is_start[codons[first]] & ends_well & ~np.logical_or.reduceat(is_stop & ~is_tga, first)
        found = is_tga & is_stop & np.repeat(is_whole, end - first)
        if selenocysteines is not None and selenocysteines.height:
            start, stop = (selenocysteines[side].to_numpy().astype(np.int64) for side in ("start_bp", "end_bp"))
            row, segment = overlapping_pairs(start, stop, self._start, self._end)
            is_same = (selenocysteines["transcript_id"].gather(row) == names.gather(segment)).to_numpy()
            row, segment = row[is_same], segment[is_same]
            codon = self._index(np.maximum(start[row], self._start[segment]), segment) // 3
            found[codon[is_tga[codon]]] = True
        return found

    def _index(self, position: NDArray[np.int64], segment: NDArray[np.int64]) -> NDArray[np.int64]:
        """Place in the sequence of 0-based genome positions inside segments."""
        forward = self._forward[segment]
        return self._offset[segment] + np.where(
            forward, position - self._start[segment], self._end[segment] - 1 - position
        )

    def _translate(self, codons: NDArray[np.uint8], is_first: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """Amino acids of codons (..., 3) of base codes, as ASCII letters; X when a base is unknown.

        is_first: (...), which of them begin a coding sequence, where every start codon is read as M.
        """
        number = _numbers(codons)
        return np.where(is_first & self._is_start[number], _START, self._amino_acids[number])

    def _read(self, index: NDArray[np.int64], end: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Base codes at indices of the sequence, unknown from `end` (of the transcript) on."""
        return np.where(index < end, self._sequence[np.minimum(index, len(self._sequence) - 1)], _UNKNOWN)

    def _judge_substitutions(
        self, spans: ChangedSpans, edit: NDArray[np.int64], segment: NDArray[np.int64], worst: NDArray[np.int8]
    ) -> None:
        """SNVs and MNVs, base by base, so that one that leaves the coding sequence is judged by the bases inside."""
        if not len(edit):
            return
        pair, column = np.nonzero(np.arange(spans.alt.shape[1]) < spans.alt_length[edit][:, None])
        position = spans.start_bp[edit[pair]] + column
        inside = (position >= self._start[segment[pair]]) & (position < self._end[segment[pair]])
        pair, column, position = pair[inside], column[inside], position[inside]
        edit, segment = edit[pair], segment[pair]
        index = self._index(position, segment)
        new = _CODES[spans.alt[edit, column]]
        new = np.where(self._forward[segment], new, _COMPLEMENT[new])
        phase = index % 3
        # One row a codon that an edit touches; two bases of an MNV may fall into the same one.
        key, row = np.unique(edit * len(self._sequence) + index - phase, return_inverse=True)
        edit, codon_start = np.divmod(key, len(self._sequence))
        transcript = np.searchsorted(self._transcript_start, codon_start, side="right") - 1
        before = self._read(codon_start[:, None] + np.arange(3), self._transcript_end[transcript][:, None])
        after = before.copy()
        after[row, phase] = new
        is_first = codon_start == self._transcript_start[transcript]
        was, becomes = self._translate(before, is_first), self._translate(after, is_first)
        was = np.where(self._reads_on[codon_start // 3], _SELENOCYSTEINE, was)
        becomes = np.where((before == after).all(axis=1), was, becomes)  # of an MNV whose ends alone differ
        nonsense = ((becomes == _STOP) & (was != _STOP)) | (is_first & (was == _START) & (becomes != _START))
        verdict = np.where(nonsense, NONSENSE, np.where(was == becomes, SYNONYMOUS, MISSENSE))
        # Of an MNV over two codons of a transcript, of which one is unknown, not even the other's silence is told.
        of_transcript = edit * len(self._transcript_start) + transcript
        is_unknown = ~nonsense & ((was == _NO_AMINO_ACID) | (becomes == _NO_AMINO_ACID))
        has_unknown = np.isin(of_transcript, of_transcript[is_unknown])
        verdict[is_unknown | (has_unknown & (verdict == SYNONYMOUS))] = UNKNOWN
        np.minimum.at(worst, edit, verdict.astype(np.int8))

    def _judge_indels(
        self, spans: ChangedSpans, edit: NDArray[np.int64], segment: NDArray[np.int64], worst: NDArray[np.int8]
    ) -> None:
        """Insertions, deletions and unequal replacements."""
        if not len(edit):
            return
        start, end = spans.start_bp[edit], spans.end_bp[edit]
        forward, transcript = self._forward[segment], self._transcript[segment]
        begin = self._transcript_start[transcript]
        contained = (start >= self._start[segment]) & (end <= self._end[segment])
        first = np.where(forward, start - self._start[segment], self._end[segment] - end)
        relative = self._offset[segment] + first - begin  # bases of the coding sequence before the edit
        net = spans.alt_length[edit] - (end - start)
        start_codon = self._read(begin[:, None] + np.arange(3), self._transcript_end[transcript][:, None])
        starts_with_m = self._is_start[_numbers(start_codon)]
        touches_start = starts_with_m & (np.maximum(self._offset[segment], begin + relative) - begin < 3)
        nonsense = np.where(contained, net % 3 != 0, touches_start)
        local = np.nonzero(contained & (net % 3 == 0))[0]
        if len(local):
            gains_stop, loses_start = self._in_frame(
                spans, edit[local], forward[local], transcript[local], relative[local]
            )
            nonsense[local] = gains_stop | (loses_start & starts_with_m[local])
        np.minimum.at(worst, edit, np.where(nonsense, NONSENSE, MISSENSE).astype(np.int8))

    def _in_frame(
        self,
        spans: ChangedSpans,
        edit: NDArray[np.int64],
        forward: NDArray[np.bool_],
        transcript: NDArray[np.int64],
        relative: NDArray[np.int64],
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Whether in-frame indels bring a stop, and whether they touch the first codon so that it no longer reads M.

        The codons that an edit touches, before and after, are written out from the start of the first one:

            before   [phase bases kept][replaced bases   ][kept to the end of the codon]
            after    [phase bases kept][alternate bases][kept to the end of the codon][what follows]
        """
        replaced, inserted = (spans.end_bp - spans.start_bp)[edit], spans.alt_length[edit]
        begin, end = self._transcript_start[transcript], self._transcript_end[transcript][:, None]
        phase = relative % 3
        codon_start = begin + relative - phase
        n_before = -(-(phase + replaced) // 3)
        n_after = n_before + (inserted - replaced) // 3
        n_codons = int(max(n_before.max(), n_after.max(), 1))
        column = np.arange(3 * n_codons)
        before = self._read(codon_start[:, None] + column, end)
        # Column of the alternate allele that stands in each place, in the direction of translation.
        place = column - phase[:, None]
        from_alt = (place >= 0) & (place < inserted[:, None])
        place = np.where(forward[:, None], place, inserted[:, None] - 1 - place)
        alt = _CODES[spans.alt[edit[:, None], np.clip(place, 0, spans.alt.shape[1] - 1)]]
        alt = np.where(forward[:, None], alt, _COMPLEMENT[alt])
        kept = np.where(column < phase[:, None], 0, (replaced - inserted)[:, None]) + column + codon_start[:, None]
        after = np.where(from_alt, alt, self._read(np.maximum(kept, 0), end))
        shape = (len(edit), n_codons, 3)
        before, after = before.reshape(shape), after.reshape(shape)
        codon = np.arange(n_codons)
        is_first = (codon_start == begin)[:, None] & (codon == 0)
        number = np.minimum(codon_start[:, None] // 3 + codon, len(self._reads_on) - 1)
        reads_on = self._reads_on[number] & (codon < n_before[:, None])
        was, becomes = self._translate(before, is_first), self._translate(after, is_first)
        had_stop = ((was == _STOP) & ~reads_on & (codon < n_before[:, None])).any(axis=1)
        is_stop = (becomes == _STOP) & (codon < n_after[:, None])
        n_read_on = np.minimum((is_stop & (_numbers(after) == _TGA)).sum(axis=1), reads_on.sum(axis=1))
        return (is_stop.sum(axis=1) > n_read_on) & ~had_stop, is_first[:, 0] & (becomes[:, 0] != _START)


def _numbers(codons: NDArray[np.uint8]) -> NDArray[np.intp]:
    """16 * first + 4 * second + third base of codons (..., 3) of base codes; 64 when a base is unknown (...)."""
    number = codons[..., 0].astype(np.intp) * 16 + codons[..., 1] * 4 + codons[..., 2]
    return np.where((codons != _UNKNOWN).all(axis=-1), number, 64)


def overlapping_pairs(
    start_bp: NDArray[np.int64], end_bp: NDArray[np.int64], span_start: NDArray[np.int64], span_end: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(edit, span) index pairs of all edits that overlap a span; spans may overlap each other.

    An insertion (start_bp == end_bp) overlaps a span that holds both its neighbours. Edits are short: candidates are
    the edits that begin inside the span, or up to the longest edit's length before it.
    """
    order = np.argsort(start_bp, kind="stable")
    ordered = start_bp[order]
    longest = int((end_bp - start_bp).max(initial=0))
    low = np.searchsorted(ordered, span_start - longest, side="left")
    high = np.searchsorted(ordered, span_end, side="left")
    count = high - low
    span = np.repeat(np.arange(len(span_start)), count)
    candidate = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count) + np.repeat(low, count)
    edit = order[candidate]
    overlaps = (start_bp[edit] < span_end[span]) & (end_bp[edit] > span_start[span])
    return edit[overlaps], span[overlaps]
