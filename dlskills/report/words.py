"""What the report itself says, in both languages."""

from __future__ import annotations

from dlskills.experiments.text import Text

WORDS = {
    "title": Text("The tutorial's experiments, checked", "教程实验的复现与检验"),
    "about": Text(
        "The experiments of a tutorial on the skills of learning, in the tradition of Deep "
        "Learning from Scratch, chapter 6, run again with dlskills. What the tutorial says of each "
        "figure is written down as a range for a measured number. A claim is confirmed if the "
        "median of that number over all seeds lies in its range. One that does not hold is "
        "not dropped or bent: it is reported as not confirmed, with a remark on what was seen.",
        "本页用 dlskills 重新运行了一份教程的各个实验。该教程沿袭《深度学习入门》第 6 章，"
        "讲解与学习有关的技巧。教程对每幅图的说法都写成了某个可测数值的范围："
        "若该数值在所有随机种子上的中位数落在范围内，则该说法得到证实。"
        "不成立的说法不会被删去或迁就，而是标为“未证实”，并附注说明实际观察到的情况。",
    ),
    "quick": Text(
        "Quick runs: shortened to see that everything works, too short to show what the "
        "tutorial shows. Their verdicts mean nothing.",
        "快速运行：仅用于确认一切正常，时间太短，不足以重现教程的结果，其结论没有意义。",
    ),
    "skip": Text("Skip to the content", "跳到正文"),
    "contents": Text("Contents", "目录"),
    "dark": Text("Dark colours", "深色"),
    "summary": Text("Summary", "总览"),
    "claim": Text("What the tutorial says", "教程的说法"),
    "verdict": Text("Verdict", "结论"),
    "confirmed": Text("confirmed", "已证实"),
    "not confirmed": Text("not confirmed", "未证实"),
    "not judged": Text("not judged", "未判定"),
    "claims": Text("Claims", "教程的说法与结论"),
    "numbers": Text("Numbers", "数值"),
    "settings": Text("Settings", "设置"),
    "quantity": Text("Measured quantity", "测量的量"),
    "median": Text("Median", "中位数"),
    "spread": Text("Lowest … highest", "最小 … 最大"),
    "expected": Text("Expected", "期望范围"),
    "no number": Text("no number", "无数值"),
    "remark": Text("Remark", "附注"),
    "of seed": Text("of seed", "随机种子"),
    "seeds": Text("Seeds", "随机种子"),
    "not random": Text("none: nothing here is random", "无：本实验没有随机性"),
    "data": Text("MNIST data", "MNIST 数据"),
    "options": Text("Options", "选项"),
    "none": Text("none", "无"),
    "backend": Text("Backend", "后端"),
    "engine": Text("Engine of updates", "更新引擎"),
    "time": Text("Computing time, all seeds", "计算时间（所有种子合计）"),
    "made by": Text("Made by", "生成工具："),
    "few": Text(
        "Of fewer than {enough} seeds: an indication, no judgement.",
        "种子少于 {enough} 个：只是迹象，不是定论。",
    ),
    "score": Text("{confirmed} of {all} claims confirmed", "{all} 个说法中 {confirmed} 个得到证实"),
    "unjudged": Text(", {count} not judged", "，{count} 个未判定"),
    "many": Text("{count} values, {first} … {last}", "{count} 个值，{first} … {last}"),
    "mean": Text("mean", "平均值"),
    "geometric_mean": Text("geometric mean", "几何平均"),
    "together": Text("together", "合并"),
    "of a full run": Text(
        "A shortened run. Of a full one: {alternative}", "这是缩短的运行。完整的运行：{alternative}"
    ),
    "min": Text("lowest", "最小值"),
    "max": Text("highest", "最大值"),
}
