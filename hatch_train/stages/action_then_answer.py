from hatch_train.stages.supervised import Supervised as ActionThenAnswer
