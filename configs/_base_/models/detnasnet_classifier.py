# Classifier around a searched backbone, by default of the small space. The
# configs add its path.
_base_ = './detnas_classifier.py'

model = dict(
    backbone=dict(
        _delete_=True, type='detnas_mm.DetNASNet', out_indices=(3, )))
