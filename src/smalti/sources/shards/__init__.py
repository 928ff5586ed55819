"""Shards of samples that other programs pack for training: MDS, LitData, TFRecord, RecordIO and LMDB."""
