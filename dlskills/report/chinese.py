"""What stands in figures and tables, in Chinese: labels, headings and names, whose numbers vary."""

from __future__ import annotations

import re

from dlskills.experiments import EXPERIMENTS
from dlskills.experiments.text import Text

_WORDS = {
    "accuracy": "精度",
    "all 0": "全 0",
    "all 0.01": "全 0.01",
    "all units alike": "所有神经元相同",
    "best": "最佳",
    "change of W1": "W1 的变化",
    "data": "数据",
    "diverged": "发散",
    "Downhill: the negative gradient of x²/20 + y²": "下坡方向：x²/20 + y² 的负梯度",
    "dropout": "Dropout",
    "epoch (3 batches; measured after the first)": "epoch（3 批；在第一批之后测量）",
    "epoch, after its first step": "epoch（在其第一步之后）",
    "f there": "该处的 f",
    "full": "完整",
    "function": "函数",
    "gap": "差距",
    "gradient left": "剩余梯度",
    "How the weights of four hidden units have changed (red: grown, blue: fallen)": (
        "四个隐藏神经元的权重变化（红色增大，蓝色减小）"
    ),
    "initial weights": "权重初始值",
    "iteration": "迭代次数",
    "last point": "终点",
    "last with": "最终：使用",
    "last without": "最终：不使用",
    "late loss": "后期损失",
    "learning rate": "学习率",
    "loss": "损失",
    "Loss and penalty apart": "损失与惩罚项分开",
    "loss of a batch before its update (smoothed)": "更新之前该批的损失（平滑后）",
    "loss on the training images": "训练图像上的损失",
    "lr": "学习率",
    "mean accuracy with": "平均精度：使用",
    "mean without": "平均精度：不使用",
    "method": "方法",
    "minimum": "最小值",
    "network": "网络",
    "never": "从未达到",
    "no regularization": "无正则化",
    "none": "无",
    "others": "其余",
    "path length": "路径长度",
    "penalty": "惩罚项",
    "place": "名次",
    "quick run: too short to show what the tutorial shows": "快速运行：太短，不足以重现教程的结果",
    "random": "随机",
    "sample": "样本",
    "saturated": "饱和",
    "share of values": "占全部值的比例",
    "standard deviations of the initial weights": "权重初始值的标准差",
    "start": "起点",
    "std": "标准差",
    "Sum of squares of the weights": "权重的平方和",
    "test": "测试",
    "test (95 % interval)": "测试（95 % 区间）",
    "test accuracy": "测试精度",
    "train": "训练",
    "training": "训练",
    "trial": "试验",
    "units": "神经元",
    "validation": "验证",
    "values greater than 0": "大于 0 的值",
    "weight decay": "权值衰减",
    "weights": "权重",
    "with Batch Norm": "使用 Batch Norm",
    "without": "不使用",
    "y = 0 crossed": "穿过 y = 0 的次数",
}

# A part in {} is put into Chinese in its turn.
_FORMS = {
    r"(\S+)% outside": "{}% 超出范围",
    r"(\S+) test images": "{} 张测试图像",
    r"(\S+) training images": "{} 张训练图像",
    r"accuracy on (\S+) validation digits": "在 {} 个验证数字上的精度",
    r"accuracy on the (\S+) training digits": "在 {} 个训练数字上的精度",
    r"(\d+)\. trial (\d+): (.+)": "第 {} 名：试验 {}，{}",
    r"(.+) \(learning rate (.+)\)": "{}（学习率 {}）",
    r"(.+), learning rate (.+)": "{}，学习率 {}",
    r"at the end: train (.+), test (.+)": "最终：训练 {}，测试 {}",
    r"book, (.+)": "书中形式，{}",
    r"inverted, (.+)": "反向形式，{}",
    r"contours at (.+) and (.+)": "等高线：{} 和 {}",
    r"in step (\d+), (.+)": "第 {} 步，{}",
    r"layer (\d+)": "第 {} 层",
    r"std, layer (\d+)": "标准差，第 {} 层",
    r"std (\S+)": "标准差 {}",
    r"the next (\d+)": "其后 {} 个",
    r"the first (\d+) points": "前 {} 个点",
    r"weights: (.+)": "权重：{}",
    r"(\d+) different units": "{} 个不同的神经元",
    r"loss, first (\d+)": "前 {} 批的损失",
    r"loss, last (\d+)": "最后 {} 批的损失",
    r"steps to loss (\S+)": "损失降到 {} 的步数",
    r"(\d+)-layer network, batches of (\d+) of (\S+) digits": "{} 层网络，每批 {} 个，共 {} 个数字",
    r"(\d+) digits, (\d+) layers": "{} 个数字，{} 层",
    r"One hidden layer of (\d+), (\S+) digits": "隐藏层 {} 个神经元，{} 个数字",
    r"initial weights of standard deviation (\S+)": "权重初始值的标准差为 {}",
    r"(\d+) trials": "{} 次试验",
    r"(\d+) trials, the best by validation": "{} 次试验中验证精度最高的",
    r"penalty (½\S+)": "惩罚项 {}",
    r"(sigmoid|ReLU), ([^:]+)": "{}，{}",
    r"(.+): (.+)": "{}：{}",
}


def in_chinese(words: str) -> str:
    """The same in Chinese; what has no words, such as a number or a name, comes back as it is."""
    if words in _WORDS:
        return _WORDS[words]
    for experiment in EXPERIMENTS.values():
        title: Text = experiment.TITLE
        if words == title.en:
            return title.zh
        for mark, chinese in ((": ", "："), (" ", "")):
            if words.startswith(title.en + mark):
                return title.zh + chinese + in_chinese(words.removeprefix(title.en + mark))
    for form, chinese in _FORMS.items():
        if found := re.fullmatch(form, words):
            return chinese.format(*map(in_chinese, found.groups()))
    return words


def with_names(text: Text) -> Text:
    """The text with the names that it quotes, of networks and runs, in Chinese too."""
    return Text(text.en, re.sub("“(.+?)”", lambda name: f"“{in_chinese(name[1])}”", text.zh))


def both(words: str) -> Text:
    """A label, heading or name in both languages."""
    return Text(words, in_chinese(words))
